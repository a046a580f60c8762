-- Each write of a user's tasks takes the user's next change number, under the lock on the user's
-- row. A task's version is the number of its last change, and a deleted task is kept for 30 days.

ALTER TABLE users ADD COLUMN change_number integer NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN purged_number integer NOT NULL DEFAULT 0;

UPDATE users
SET change_number = tasks.version, task_count = tasks.count
FROM (SELECT user_id, max(version) AS version, count(*) AS count FROM tasks GROUP BY user_id) AS tasks
WHERE users.id = tasks.user_id;

ALTER TABLE tasks ALTER COLUMN version DROP DEFAULT;

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

-- A batch has several tasks, and its key remembers all of them.
ALTER TABLE idempotency_keys ALTER COLUMN task_id DROP NOT NULL;
ALTER TABLE idempotency_keys ADD COLUMN batch jsonb;
