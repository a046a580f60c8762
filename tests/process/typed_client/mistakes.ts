// Each line that ends in "wrong" must not compile.
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./openapi.js";

const api = createClient<paths>();
const path = { task_id: "01a20cbe-374b-71be-a182-29b72fded62e" };
const page: components["schemas"]["TaskPage"] = { data: [], nextCursor: null };
const error: components["schemas"]["ErrorBody"] | undefined = (await api.GET("/metrics")).error?.error;

await api.POST("/api/v1/tasks", { body: { titel: "Buy milk" } }); // wrong
await api.POST("/api/v1/tasks", { body: { title: 1 } }); // wrong
await api.POST("/api/v1/tasks", { body: { title: null } }); // wrong
await api.POST("/api/v1/tasks", { body: { status: "pending" } }); // wrong
await api.PATCH("/api/v1/tasks/{task_id}", { params: { path }, body: { status: "done" } }); // wrong
await api.PATCH("/api/v1/tasks/{task_id}", { body: { status: "completed" } }); // wrong
await api.GET("/api/v1/tasks", { params: { query: { sort: "due" } } }); // wrong
await api.GET("/api/v1/tasks", { params: { query: { limit: "10" } } }); // wrong
await api.GET("/api/v1/task"); // wrong
await api.DELETE("/api/v1/tasks"); // wrong
console.log(page.data[0].owner); // wrong
console.log(page.data[0].description.length); // wrong
console.log(error?.code === "no_such_code"); // wrong
const status: components["schemas"]["TaskStatus"] = "done"; // wrong
const code: components["schemas"]["ErrorCode"] = "no_such_code"; // wrong
type Unknown = operations["destroyTask"]; // wrong
await api.POST("/api/v1/tasks/batch", { body: { update: [{ title: "x" }] } }); // wrong
await api.POST("/api/v1/tasks/batch", { body: { delete: [path.task_id] } }); // wrong
await api.GET("/api/v1/tasks/changes", { params: { query: { cursor: "x" } } }); // wrong
console.log((await api.GET("/api/v1/tasks/summary")).data?.byStatus.done); // wrong
