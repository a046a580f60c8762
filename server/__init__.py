"""A gunicorn worker whose threads never wait for a client; see README.md beside this file.

The package does not depend on the application: gunicorn's configuration file passes `Settings` to
`worker.build_worker_class`, and the resulting class to gunicorn. This file imports nothing, because
`python -m server` has to run before gunicorn is imported.
"""
