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

const changes = await api.GET("/api/v1/tasks/changes", { headers });
if (!changes.data) throw new Error(changes.error.error.message);
const since: string = changes.data.nextSince;
const batch = await api.POST("/api/v1/tasks/batch", {
  headers,
  body: {
    create: [{ title: "Buy bread" }],
    delete: [{ id: made.data.id, version: changes.data.changed[0].version }],
  },
});
const created: number | undefined = batch.data?.created.length;
const after = await api.GET("/api/v1/tasks/changes", {
  headers,
  params: { query: { since, limit: 500 } },
});
const deleted: string[] | undefined = after.data?.deleted;
const restored = await api.POST("/api/v1/tasks/{task_id}/restore", {
  headers,
  params: { path: { task_id: made.data.id } },
});
const summary = await api.GET("/api/v1/tasks/summary", { headers });

console.log(
  JSON.stringify({
    created,
    deleted: deleted?.length === 1 && deleted[0] === made.data.id,
    restored: restored.data?.title,
    total: summary.data?.total,
    byStatus: summary.data?.byStatus,
    tags: summary.data?.tags,
    status: patched.data?.status,
    titles,
    next,
    advice: stale.error && advice(stale.error.error.code),
  }),
);
