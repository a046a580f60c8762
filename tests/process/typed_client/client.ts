// A client whose types come from the OpenAPI document. Give it the service's address.
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./openapi.js";

type ErrorCode = components["schemas"]["ErrorCode"];
type Status = components["schemas"]["TaskStatus"];

declare const process: { argv: string[] };

// An operation is found by its name, too.
type Listing = operations["listTasks"]["parameters"]["query"];

const api = createClient<paths>({ baseUrl: process.argv[2] });

function advice(code: ErrorCode): string {
  switch (code) {
    case "precondition_failed":
      return "read it again";
    case "rate_limited":
      return "wait";
    default:
      return "give up";
  }
}

const session = await api.POST("/api/v1/auth/register", {
  body: { email: "typed@example.com", password: "three purple teapots" },
});
if (!session.data) throw new Error(session.error.error.message);
const headers = { Authorization: `Bearer ${session.data.accessToken}` };

const made = await api.POST("/api/v1/tasks", {
  headers,
  body: { title: "Buy milk", tags: ["shop"], dueDate: "2026-12-01" },
});
if (!made.data) throw new Error(made.error.error.message);

const params = {
  path: { task_id: made.data.id },
  header: { "If-Match": made.response.headers.get("ETag") ?? "*" },
};
const task = "/api/v1/tasks/{task_id}";
const patched = await api.PATCH(task, { headers, params, body: { status: "completed" } });
const stale = await api.PATCH(task, { headers, params, body: { description: null } });

const statuses: Status[] = ["pending", "completed"];
const query: Listing = { status: statuses, tag: ["shop"], sort: "-dueDate", limit: 10 };
const page = await api.GET("/api/v1/tasks", { headers, params: { query } });
const titles: string[] | undefined = page.data?.data.map((found) => found.title);
const next: string | null | undefined = page.data?.nextCursor;

console.log(
  JSON.stringify({
    status: patched.data?.status,
    titles,
    next,
    advice: stale.error && advice(stale.error.error.code),
  }),
);
