"""gunicorn's settings; it reads this file by itself, before it forks."""

from taskflow.config import load_config_or_exit
from taskflow.logs import log_config

_config = load_config_or_exit(production=True)

wsgi_app = "wsgi:app"
bind = f"0.0.0.0:{_config.port}"
worker_class = "gthread"
threads = _config.web_threads
# The platforms' routers keep idle connections for up to 90 s; closing one first is a race that
# the client loses (502). A stopping worker does not wait for them.
keepalive = 95
# Heroku and Render kill 30 s after SIGTERM: be gone before.
graceful_timeout = 28
control_socket_disable = True
logconfig_dict = log_config(_config.log_level)
