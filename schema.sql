-- The whole schema, for reading and for a new database. A change of it is a file in migrations/; a test
-- proves that this file and all migrations make the same catalog.

-- A UUID version 7 (RFC 9562, 5.7), which sorts by creation. The 12 bits after the version hold the
-- microseconds (6.2, method 3).
CREATE FUNCTION taskflow_uuid() RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
  micros bigint := extract(epoch FROM clock_timestamp()) * 1000000;
  random text := replace(gen_random_uuid()::text, '-', '');
BEGIN
  RETURN lpad(to_hex(micros / 1000), 12, '0')
    || '7' || lpad(to_hex(micros % 1000 * 4096 / 1000), 3, '0')
    || substr(random, 17);
END $$;

-- The words of a text for full-text search. ASCII punctuation separates words, so that "report.pdf"
-- and "ann@example.com", which PostgreSQL's parser would keep whole, can be found by a part.
CREATE FUNCTION taskflow_words(input text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT to_tsvector('simple'::regconfig,
                     translate(input, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)))
$$;

-- The search for tasks with every word of a text, where the beginning of a word is enough.
CREATE FUNCTION taskflow_query(input text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT string_agg(quote_literal(word) || ':*', ' & ')::tsquery
  FROM unnest(tsvector_to_array(taskflow_words(input))) AS word
$$;

-- Accounts. `email_key` is the email in lower case; the service computes it, so that it does not
-- depend on the database's locale. `task_count` makes the task limit exact.
CREATE TABLE users (
  id            uuid        NOT NULL DEFAULT taskflow_uuid(),
  email         text        NOT NULL,
  email_key     text        NOT NULL,
  password_hash text        NOT NULL,
  task_count    integer     NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_email_key UNIQUE (email_key)
);

-- Sessions that have not been ended. An expired one counts as ended.
CREATE TABLE sessions (
  id           uuid        NOT NULL DEFAULT taskflow_uuid(),
  user_id      uuid        NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz NOT NULL,
  user_agent   text,
  ip_address   text,
  CONSTRAINT sessions_pkey PRIMARY KEY (id),
  CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX sessions_user ON sessions (user_id, created_at);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Refresh tokens that may still be used, by their `jti`. `rotated_at` is the first use.
CREATE TABLE refresh_tokens (
  id         uuid        NOT NULL DEFAULT gen_random_uuid(),
  session_id uuid        NOT NULL,
  issued_at  timestamptz NOT NULL DEFAULT now(),
  rotated_at timestamptz,
  CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
  CONSTRAINT refresh_tokens_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- Tasks. The user is part of the key, and every statement names it. `due_at` of a plain day is the
-- day's last microsecond in UTC. `version` is the ETag.
CREATE TABLE tasks (
  id           uuid        NOT NULL DEFAULT taskflow_uuid(),
  user_id      uuid        NOT NULL,
  title        text        NOT NULL,
  description  text,
  status       text        NOT NULL DEFAULT 'pending',
  priority     text        NOT NULL DEFAULT 'medium',
  tags         text[]      NOT NULL DEFAULT '{}',
  due_at       timestamptz,
  due_is_day   boolean     NOT NULL DEFAULT false,
  completed_at timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  version      integer     NOT NULL DEFAULT 1,
  words        tsvector    NOT NULL
    GENERATED ALWAYS AS (taskflow_words(title || ' ' || COALESCE(description, ''))) STORED,
  CONSTRAINT tasks_pkey PRIMARY KEY (user_id, id),
  CONSTRAINT tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
  CONSTRAINT tasks_title_check CHECK (length(title) BETWEEN 1 AND 200),
  CONSTRAINT tasks_description_check CHECK (length(description) <= 2000),
  CONSTRAINT tasks_status_check CHECK (status IN ('pending', 'in_progress', 'completed')),
  CONSTRAINT tasks_priority_check CHECK (priority IN ('low', 'medium', 'high')),
  CONSTRAINT tasks_tags_check CHECK (cardinality(tags) <= 10),
  -- Every list with a year that Python can't represent would fail.
  CONSTRAINT tasks_due_at_check CHECK (due_at >= '1970-01-01Z' AND due_at < '3000-01-01Z')
);

-- One index a sort, with the key of taskflow/tasks/queries.py. Tasks without a due date come last in
-- both directions, so that sort has two. Filters and searches read the user's own tasks along these
-- indexes; a GIN index over `words` would read everybody's tasks (measured with a million tasks and a
-- common word: 40 ms and growing, against 0.4 ms).
CREATE INDEX tasks_created_at ON tasks (user_id, created_at, id);
CREATE INDEX tasks_updated_at ON tasks (user_id, updated_at, id);
CREATE INDEX tasks_due_at_first
  ON tasks (user_id, COALESCE(due_at, 'infinity'), id);
CREATE INDEX tasks_due_at_last
  ON tasks (user_id, COALESCE(due_at, '-infinity'), id);
CREATE INDEX tasks_priority
  ON tasks (user_id, array_position(ARRAY['low', 'medium', 'high'], priority), id);
CREATE INDEX tasks_title ON tasks (user_id, lower(title COLLATE "C"), id);

-- The task that each Idempotency-Key created, for a day. There is no foreign key, because the task may
-- have been deleted.
CREATE TABLE idempotency_keys (
  user_id     uuid        NOT NULL,
  key         text        NOT NULL,
  body_digest text        NOT NULL,
  task_id     uuid        NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
  CONSTRAINT idempotency_keys_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- The migrations that have been applied, with the SHA-256 of their files.
CREATE TABLE schema_migrations (
  name       text        NOT NULL,
  digest     text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT schema_migrations_pkey PRIMARY KEY (name)
);
INSERT INTO schema_migrations (name, digest) VALUES
  ('0001_initial', 'c7db9edd58a26612f5b278273b45c525a08dde1035f064da8a54f99a0caa0c1f');
