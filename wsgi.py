"""The production entry point, which gunicorn imports."""

import logging.config

from taskflow import create_app
from taskflow.config import load_config_or_exit
from taskflow.logs import log_config

config = load_config_or_exit(production=True)
logging.config.dictConfig(log_config(config.log_level))
app = create_app(config)
