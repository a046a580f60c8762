# docker build -t taskflow .
# docker run --rm --env-file .env taskflow python -m taskflow release
# docker run --rm --env-file .env -p 3000:3000 taskflow

FROM python:3.13-slim AS build
RUN python3 -m venv /venv
COPY requirements.txt /
RUN /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    -r /requirements.txt

FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH
ENV PYTHONUNBUFFERED=1
# A number, because Kubernetes' runAsNonRoot refuses a name.
RUN useradd --system --no-create-home --uid 10001 taskflow
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
RUN python -m compileall -q .
USER 10001
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD python -c 'import os; from urllib.request import urlopen; \
                   port = os.environ.get("PORT") or 3000; \
                   urlopen(f"http://127.0.0.1:{port}/health/live", timeout=3)'
CMD ["python", "-m", "server", "wsgi:app"]
