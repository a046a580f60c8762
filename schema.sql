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

-- The words of a text that the service has not computed yet; `release` does.
CREATE FUNCTION taskflow_words(input text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT ' ' || lower(regexp_replace(normalize(input, NFC), '[^[:alnum:]]+', ' ', 'g'))
$$;

-- Accounts. The service computes `email_key`, the canonical form of the email, so that it does not
-- depend on the database's locale. `task_count` makes the task limit exact. `change_number` is the
-- number of the last change of the user's tasks, and `purged_number` that of the last deletion that
-- is forgotten. Room in each page keeps updates HOT.
CREATE TABLE users (
  id            uuid        NOT NULL DEFAULT taskflow_uuid(),
  email         text        NOT NULL,
  email_key     text        NOT NULL,
  password_hash text        NOT NULL,
  task_count    integer     NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL DEFAULT now(),
  change_number integer     NOT NULL DEFAULT 0,
  purged_number integer     NOT NULL DEFAULT 0,
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_email_key UNIQUE (email_key)
) WITH (fillfactor = 70);

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

-- The refresh tokens of a session by their `jti`, a chain in the order of `issued_at`. The latest is
-- the newest token; `rotated_at` is when another was used.
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
-- day's last microsecond in UTC. `version` is the user's change number at the last change, and the
-- ETag. The words are null where the service has not computed them yet.
CREATE TABLE tasks (
  id                uuid        NOT NULL DEFAULT taskflow_uuid(),
  user_id           uuid        NOT NULL,
  title             text        NOT NULL,
  description       text,
  status            text        NOT NULL DEFAULT 'pending',
  priority          text        NOT NULL DEFAULT 'medium',
  tags              text[]      NOT NULL DEFAULT '{}',
  due_at            timestamptz,
  due_is_day        boolean     NOT NULL DEFAULT false,
  completed_at      timestamptz,
  created_at        timestamptz NOT NULL DEFAULT now(),
  updated_at        timestamptz NOT NULL DEFAULT now(),
  version           integer     NOT NULL,
  title_words       text,
  description_words text,
  CONSTRAINT tasks_pkey PRIMARY KEY (user_id, id),
  CONSTRAINT tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
  CONSTRAINT tasks_title_check CHECK (length(title) BETWEEN 1 AND 200),
  CONSTRAINT tasks_description_check CHECK (length(description) <= 2000),
  CONSTRAINT tasks_status_check CHECK (status IN ('pending', 'in_progress', 'completed')),
  CONSTRAINT tasks_priority_check CHECK (priority IN ('low', 'medium', 'high')),
  CONSTRAINT tasks_tags_check CHECK (cardinality(tags) <= 10),
  -- Every list with a year that Python can't represent would fail.
  CONSTRAINT tasks_due_at_check CHECK (due_at >= '1970-01-01Z' AND due_at < '3000-01-01Z')
) WITH (fillfactor = 85);

-- The order of lists by default. Other orders, filters and searches read the user's own tasks, 1,000
-- by default, which costs less than an index for each in every write.
CREATE INDEX tasks_created_at ON tasks (user_id, created_at, id);

-- Deleted tasks, for 30 days: for the feed of changes, and to be restored.
CREATE TABLE deleted_tasks (
  user_id    uuid        NOT NULL,
  id         uuid        NOT NULL,
  version    integer     NOT NULL,
  deleted_at timestamptz NOT NULL DEFAULT now(),
  task       jsonb       NOT NULL,
  CONSTRAINT deleted_tasks_pkey PRIMARY KEY (user_id, id),
  CONSTRAINT deleted_tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX deleted_tasks_deleted_at ON deleted_tasks (deleted_at);

-- The service sets the version itself, so that these two run only for an operator's SQL.
CREATE FUNCTION taskflow_number_insert() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE users
  SET change_number = change_number + 1, task_count = task_count + 1
  WHERE id = NEW.user_id
  RETURNING change_number INTO NEW.version;
  DELETE FROM deleted_tasks
  WHERE user_id = NEW.user_id AND id = NEW.id;
  RETURN NEW;
END $$;
CREATE TRIGGER tasks_number_insert BEFORE INSERT ON tasks
  FOR EACH ROW WHEN (NEW.version IS NULL) EXECUTE FUNCTION taskflow_number_insert();

CREATE FUNCTION taskflow_number_update() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE users
  SET change_number = change_number + 1
  WHERE id = NEW.user_id
  RETURNING change_number INTO NEW.version;
  IF NEW.user_id <> OLD.user_id THEN
    UPDATE users SET task_count = task_count + 1 WHERE id = NEW.user_id;
    WITH former AS (
      UPDATE users
      SET change_number = change_number + 1, task_count = task_count - 1
      WHERE id = OLD.user_id
      RETURNING change_number
    )
    INSERT INTO deleted_tasks (user_id, id, version, task)
    SELECT OLD.user_id, OLD.id, change_number, to_jsonb(OLD)
    FROM former
    ON CONFLICT (user_id, id) DO UPDATE
    SET version = EXCLUDED.version, deleted_at = EXCLUDED.deleted_at, task = EXCLUDED.task;
    DELETE FROM deleted_tasks
    WHERE user_id = NEW.user_id AND id = NEW.id;
  END IF;
  IF (NEW.title, NEW.description) IS DISTINCT FROM (OLD.title, OLD.description) THEN
    NEW.title_words = NULL;
    NEW.description_words = NULL;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tasks_number_update BEFORE UPDATE ON tasks
  FOR EACH ROW
  WHEN (NEW.version = OLD.version AND NEW.title_words IS NOT DISTINCT FROM OLD.title_words)
  EXECUTE FUNCTION taskflow_number_update();

-- Deleting a user deletes its tasks too, and then no row of users is left to update. Counting the
-- tasks mends a count that is wrong, such as after an instance of an earlier release counted too.
CREATE FUNCTION taskflow_keep_deleted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1
  FROM users
  WHERE id IN (SELECT user_id FROM deleted)
  ORDER BY id
  FOR NO KEY UPDATE;

  WITH owners AS (
    UPDATE users
    SET change_number = change_number + 1,
        task_count = (SELECT count(*) FROM tasks WHERE tasks.user_id = users.id)
    WHERE id IN (SELECT user_id FROM deleted)
    RETURNING id, change_number
  )
  INSERT INTO deleted_tasks (user_id, id, version, task)
  SELECT deleted.user_id, deleted.id, owners.change_number, to_jsonb(deleted)
  FROM deleted
  JOIN owners ON owners.id = deleted.user_id
  ON CONFLICT (user_id, id) DO UPDATE
  SET version = EXCLUDED.version, deleted_at = EXCLUDED.deleted_at, task = EXCLUDED.task;
  RETURN NULL;
END $$;
CREATE TRIGGER tasks_keep_deleted AFTER DELETE ON tasks
  REFERENCING OLD TABLE AS deleted
  FOR EACH STATEMENT EXECUTE FUNCTION taskflow_keep_deleted();

CREATE FUNCTION taskflow_delete_all() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM tasks;
  RETURN NULL;
END $$;
CREATE TRIGGER tasks_delete_all BEFORE TRUNCATE ON tasks
  FOR EACH STATEMENT EXECUTE FUNCTION taskflow_delete_all();

-- The task that each Idempotency-Key created, for a day. There is no foreign key, because the task may
-- have been deleted.
CREATE TABLE idempotency_keys (
  user_id     uuid        NOT NULL,
  key         text        NOT NULL,
  body_digest text        NOT NULL,
  task_id     uuid,
  created_at  timestamptz NOT NULL DEFAULT now(),
  batch       jsonb,
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
  ('0001_initial', 'c7db9edd58a26612f5b278273b45c525a08dde1035f064da8a54f99a0caa0c1f'),
  ('0002_fewer_indexes', 'be010dd88d16c317db602a630a57984cdf822f5d35d53cb38bc88c6e92507e8b'),
  ('0003_change_numbers', '1504903071aef9a9e7fa204d02c1551c189ead4441d6f93f5ddf8929f54efe80');
