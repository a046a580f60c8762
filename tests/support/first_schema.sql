-- The whole schema. Run it as often as you like: it makes what is missing and destroys nothing.
-- One transaction under one lock, so that two releases at once do not meet.

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('taskflow.schema'));

-- An id that sorts by creation: UUID version 7 (RFC 9562 section 5.7), with the microseconds in
-- the 12 bits after the version (method 3 of section 6.2). PostgreSQL has its own from 18 on.
CREATE OR REPLACE FUNCTION taskflow_uuid() RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
  micros bigint := extract(epoch FROM clock_timestamp()) * 1000000;
  random text := replace(gen_random_uuid()::text, '-', '');
BEGIN
  RETURN lpad(to_hex(micros / 1000), 12, '0')
    || '7' || lpad(to_hex(micros % 1000 * 4096 / 1000), 3, '0')
    || substr(random, 17);
END $$;

-- The words of a text for full-text search: ASCII punctuation parts words, as people expect of
-- "report.pdf" or "ann@example.com", which PostgreSQL's parser would keep as one word.
CREATE OR REPLACE FUNCTION taskflow_words(input text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT to_tsvector('simple'::regconfig,
                     translate(input, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)))
$$;

-- Accounts. `email_key` is the email without regard to case, made by the service, so that it
-- does not depend on the database's locale. `task_count` is what makes the task limit exact.
CREATE TABLE IF NOT EXISTS users (
  id            uuid        NOT NULL DEFAULT taskflow_uuid(),
  email         text        NOT NULL,
  email_key     text        NOT NULL,
  password_hash text        NOT NULL,
  task_count    integer     NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_email_key UNIQUE (email_key)
);

-- Sessions that were begun and have not been ended; one that expired is as good as gone.
CREATE TABLE IF NOT EXISTS sessions (
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
CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user_id, created_at);
CREATE INDEX IF NOT EXISTS sessions_expiry ON sessions (expires_at);

-- Refresh tokens that may still be used, by their `jti`; without the key no token can be made
-- from one. `rotated_at` is the first use.
CREATE TABLE IF NOT EXISTS refresh_tokens (
  id         uuid        NOT NULL DEFAULT gen_random_uuid(),
  session_id uuid        NOT NULL,
  issued_at  timestamptz NOT NULL DEFAULT now(),
  rotated_at timestamptz,
  CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
  CONSTRAINT refresh_tokens_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS refresh_tokens_session ON refresh_tokens (session_id);

-- Tasks. The user is part of the key: every statement names it. `due_at` of a plain day is the
-- day's last microsecond in UTC. `version` is the ETag.
CREATE TABLE IF NOT EXISTS tasks (
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
  -- A year that Python can't hold would make every list with it fail.
  CONSTRAINT tasks_due_at_check CHECK (due_at >= '1970-01-01Z' AND due_at < '3000-01-01Z')
);

-- One index a sort; the key of each stands in taskflow/tasks/queries.py too. A task without a
-- due date comes last whichever way, so that sort needs two.
CREATE INDEX IF NOT EXISTS tasks_created_at ON tasks (user_id, created_at, id);
CREATE INDEX IF NOT EXISTS tasks_updated_at ON tasks (user_id, updated_at, id);
CREATE INDEX IF NOT EXISTS tasks_due_at_first
  ON tasks (user_id, COALESCE(due_at, 'infinity'), id);
CREATE INDEX IF NOT EXISTS tasks_due_at_last
  ON tasks (user_id, COALESCE(due_at, '-infinity'), id);
CREATE INDEX IF NOT EXISTS tasks_priority
  ON tasks (user_id, array_position(ARRAY['low', 'medium', 'high'], priority), id);
CREATE INDEX IF NOT EXISTS tasks_title ON tasks (user_id, lower(title COLLATE "C"), id);
CREATE INDEX IF NOT EXISTS tasks_words ON tasks USING gin (words);

-- What an Idempotency-Key made, for a day. The task may have been deleted since: no foreign key.
CREATE TABLE IF NOT EXISTS idempotency_keys (
  user_id     uuid        NOT NULL,
  key         text        NOT NULL,
  body_digest text        NOT NULL,
  task_id     uuid        NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
  CONSTRAINT idempotency_keys_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idempotency_keys_created_at ON idempotency_keys (created_at);

COMMIT;
