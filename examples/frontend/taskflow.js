/**
 * A client of the TaskFlow API for browsers, which refreshes sessions by itself.
 *
 * The access token stays in memory. Two values outlast a reload: the refresh cookie, which scripts
 * can't read, and the CSRF token, which is useless without that cookie.
 *
 * @typedef {{ id: string, email: string, createdAt: string }} User
 * @typedef {{ id: string, createdAt: string, lastUsedAt: string, expiresAt: string,
 *   userAgent: string | null, ipAddress: string | null, current: boolean }} Session
 * @typedef {"pending" | "in_progress" | "completed"} Status
 * @typedef {"low" | "medium" | "high"} Priority
 * @typedef {{ title: string, description: string | null, status: Status, priority: Priority,
 *   tags: string[], dueDate: string | null }} TaskFields  `dueDate` is a plain day or an instant.
 * @typedef {TaskFields & { id: string, userId: string, completedAt: string | null,
 *   createdAt: string, updatedAt: string, version: number }} Task
 * @typedef {Partial<TaskFields> & { title: string }} NewTask
 * @typedef {{ id: string, version?: number }} Ref  Without `version`, any version is changed.
 * @typedef {{ create?: NewTask[], update?: (Ref & Partial<TaskFields>)[], delete?: Ref[] }} Batch
 * @typedef {{ created: Task[], updated: Task[], deleted: string[] }} BatchResult
 * @typedef {{ limit?: number, cursor?: string | null, sort?: string, q?: string,
 *   status?: Status | Status[], priority?: Priority | Priority[], tag?: string | string[],
 *   dueBefore?: string, dueAfter?: string }} TaskQuery
 * @typedef {{ data: Task[], nextCursor: string | null }} TaskPage
 * @typedef {{ changed: Task[], deleted: string[], nextSince: string, hasMore: boolean }} Changes
 * @typedef {{ total: number, limit: number, byStatus: Record<Status, number>,
 *   byPriority: Record<Priority, number>, overdue: number,
 *   tags: { tag: string, count: number }[] }} Summary
 * @typedef {{ code: string, message: string, correlationId: string,
 *   details?: { field: string, message: string }[] }} ErrorBody
 * @typedef {{ body?: object, headers?: Record<string, string> }} Options
 * @typedef {{ status: number, data: any, headers: Headers }} Answer
 */

const TIMEOUT = 30_000; // milliseconds
const REFRESHABLE = new Set(["auth_missing", "auth_expired", "auth_invalid"]);

/** A failed request. Compare `code`, which never changes; `network_error` means no answer. */
export class ApiError extends Error {
  /** @param {number} status @param {ErrorBody} body @param {number | null} [retryAfter] */
  constructor(status, { code, message, details = [], correlationId }, retryAfter = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.details = details;
    /** @type {Record<string, string>} */
    this.fields = Object.fromEntries(details.map((detail) => [detail.field, detail.message]));
    this.correlationId = correlationId;
    this.retryAfter = retryAfter; // seconds
  }
}

export class TaskFlow {
  /** @type {string | null} */
  accessToken = null;
  /** @type {Promise<void> | null} */
  #refreshing = null;

  /**
   * @param {string} origin
   * @param {(user: User | null) => void} [onUser] is called with the user after a login, a refresh
   *   or a change of email, and with null when the session has ended.
   */
  constructor(origin, onUser = () => {}) {
    this.base = `${origin}/api/v1`;
    this.onUser = onUser;
    this.csrfKey = `csrf of ${origin}`; // for localStorage, because tabs share a session
  }

  // Accounts and sessions

  /** @param {string} email @param {string} password */
  register(email, password) {
    return this.#begin("/auth/register", { body: { email, password } });
  }

  /** @param {string} email @param {string} password */
  login(email, password) {
    return this.#begin("/auth/login", { body: { email, password } });
  }

  /** Continue the session of an earlier visit, if there is one. */
  async resume() {
    if (!localStorage.getItem(this.csrfKey)) return this.onUser(null);
    try {
      await this.refresh();
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }

  /** Get a new access token with the refresh cookie. Concurrent calls share one request. */
  refresh() {
    this.#refreshing ??= this.#begin("/auth/refresh", { headers: this.#csrf() })
      .catch((error) => {
        if (isRefusal(error)) this.#end();
        throw error;
      })
      .finally(() => {
        this.#refreshing = null;
      });
    return this.#refreshing;
  }

  async logout() {
    try {
      await this.#send("POST", "/auth/logout", { headers: this.#csrf() });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
    }
    this.#end(); // after a 401 too: the session had already ended
  }

  /** @returns {Promise<User>} */
  async getAccount() {
    return (await this.#request("GET", "/auth/me")).data;
  }

  /** @param {string} email @param {string} password @returns {Promise<User>} */
  async changeEmail(email, password) {
    const { data } = await this.#request("PUT", "/auth/email", { body: { email, password } });
    this.onUser(data);
    return data;
  }

  /** End every other session, too. @param {string} currentPassword @param {string} newPassword */
  async changePassword(currentPassword, newPassword) {
    await this.#request("PUT", "/auth/password", { body: { currentPassword, newPassword } });
  }

  /** End every session. @param {string} token from the operator @param {string} newPassword */
  async resetPassword(token, newPassword) {
    await this.#send("POST", "/auth/password/reset", { body: { token, newPassword } });
  }

  /** @param {string} password */
  async deleteAccount(password) {
    await this.#request("DELETE", "/auth/me", { body: { password } });
    this.#end();
  }

  /** @returns {Promise<Session[]>} */
  async listSessions() {
    return (await this.#request("GET", "/auth/sessions")).data.data;
  }

  /** @param {string} id */
  async revokeSession(id) {
    await this.#request("DELETE", `/auth/sessions/${id}`);
  }

  // Tasks

  /** @param {TaskQuery} [query] @returns {Promise<TaskPage>} */
  async listTasks(query) {
    return (await this.#request("GET", `/tasks${queryString(query)}`)).data;
  }

  /** @param {string} id @returns {Promise<Task>} */
  async getTask(id) {
    return (await this.#request("GET", `/tasks/${id}`)).data;
  }

  /**
   * Create a task. If the answer is lost, call again with the same key to avoid a duplicate.
   *
   * @param {NewTask} body @param {string} [key] @returns {Promise<Task>}
   */
  async createTask(body, key = crypto.randomUUID()) {
    const headers = { "Idempotency-Key": key };
    return (await this.#request("POST", "/tasks", { body, headers })).data;
  }

  /**
   * Change the fields that `body` names, if the task still has this version.
   *
   * @param {Ref} task @param {Partial<TaskFields>} body @returns {Promise<Task>}
   */
  async updateTask({ id, version }, body) {
    return (await this.#request("PATCH", `/tasks/${id}`, { body, headers: ifMatch(version) })).data;
  }

  /** @param {Ref} task */
  async deleteTask({ id, version }) {
    await this.#request("DELETE", `/tasks/${id}`, { headers: ifMatch(version) });
  }

  /** Undo a deletion of the last 30 days. @param {string} id @returns {Promise<Task>} */
  async restoreTask(id) {
    return (await this.#request("POST", `/tasks/${id}/restore`)).data;
  }

  /**
   * Make up to 100 changes, all or none. Repeat a lost request with the same key.
   *
   * @param {Batch} body @param {string} [key] @returns {Promise<BatchResult>}
   */
  async batch(body, key = crypto.randomUUID()) {
    const headers = { "Idempotency-Key": key };
    return (await this.#request("POST", "/tasks/batch", { body, headers })).data;
  }

  /**
   * Return the changes after `since`, or all tasks without `since`. Return null if nothing has
   * changed since the answer with this ETag.
   *
   * @param {{ since?: string, limit?: number }} [query] @param {string | null} [etag]
   * @returns {Promise<Changes & { etag: string | null } | null>}
   */
  changes(query, etag) {
    return this.#conditional(`/tasks/changes${queryString(query)}`, etag);
  }

  /**
   * Return the counts of tasks, or null if nothing has changed since the answer with this ETag.
   *
   * @param {string | null} [etag] @returns {Promise<Summary & { etag: string | null } | null>}
   */
  summary(etag) {
    return this.#conditional("/tasks/summary", etag);
  }

  // Requests

  /** @param {string} path @param {string | null} [etag] */
  async #conditional(path, etag) {
    const options = etag ? { headers: { "If-None-Match": etag } } : {};
    const answer = await this.#request("GET", path, options);
    if (answer.status === 304) return null;
    return { ...answer.data, etag: answer.headers.get("ETag") };
  }

  #csrf() {
    return { "X-CSRF-Token": localStorage.getItem(this.csrfKey) ?? "" };
  }

  /** @param {string} path @param {Options} options */
  async #begin(path, options) {
    const { data } = await this.#send("POST", path, options);
    this.accessToken = data.accessToken;
    localStorage.setItem(this.csrfKey, data.csrfToken);
    this.onUser(data.user);
  }

  #end() {
    this.accessToken = null;
    localStorage.removeItem(this.csrfKey);
    this.onUser(null);
  }

  /**
   * Send with the access token. If the service refuses the token, refresh and send once more.
   *
   * @param {string} method @param {string} path @param {Options} [options]
   */
  async #request(method, path, options = {}) {
    if (!this.accessToken) await this.refresh();
    const token = this.accessToken;
    const send = () => {
      const headers = { ...options.headers, Authorization: `Bearer ${this.accessToken}` };
      return this.#send(method, path, { ...options, headers });
    };
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code === "auth_revoked") this.#end();
      if (!REFRESHABLE.has(error.code)) throw error;
      if (token === this.accessToken) await this.refresh(); // another call may have done it
      return send();
    }
  }

  /**
   * @param {string} method @param {string} path @param {Options} options
   * @returns {Promise<Answer>}
   */
  async #send(method, path, { body, headers }) {
    const correlationId = crypto.randomUUID(); // identifies the request in the service's logs
    let response, text;
    try {
      response = await fetch(this.base + path, {
        method,
        body: body && JSON.stringify(body),
        headers: {
          ...(body && { "Content-Type": "application/json" }),
          "X-Correlation-ID": correlationId,
          ...headers,
        },
        credentials: "include",
        signal: AbortSignal.timeout(TIMEOUT),
      });
      text = await response.text();
    } catch {
      const message = "The service can't be reached.";
      throw new ApiError(0, { code: "network_error", message, correlationId });
    }
    const data = parse(text);
    if (response.ok || response.status === 304) {
      return { status: response.status, data, headers: response.headers };
    }
    // The answer may come from a proxy, without an error of the service.
    const message = `The service answered with status ${response.status}.`;
    const error = data?.error ?? { code: "unknown_error", message, correlationId };
    throw new ApiError(response.status, error, Number(response.headers.get("Retry-After")) || null);
  }
}

/** @param {unknown} error */
function isRefusal(error) {
  return error instanceof ApiError && [401, 403].includes(error.status);
}

/** @param {number} [version] @returns {Record<string, string>} */
function ifMatch(version) {
  return version === undefined ? {} : { "If-Match": `"${version}"` };
}

/** Repeat a parameter for each value of a list. @param {TaskQuery & { since?: string }} [query] */
function queryString(query = {}) {
  const given = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((one) => [name, one]),
  );
  const params = given.filter(([, value]) => value !== null && value !== undefined);
  return params.length ? `?${new URLSearchParams(params.map(([n, v]) => [`${n}`, `${v}`]))}` : "";
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
