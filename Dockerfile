# Packs are built into the image, so that a container starts without reaching out for anything.
FROM python:3.11-slim AS build
# Vector engines beside the built-in indexes; add milvus (--build-arg EXTRAS=openvino,pgvector,milvus) for galleries there.
ARG EXTRAS=openvino,pgvector
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY facesvc facesvc
COPY migrations migrations
RUN uv venv /venv && uv pip install --python /venv/bin/python --torch-backend cpu -c constraints.txt ".[$EXTRAS]"
RUN FACESVC_DATA=/data /venv/bin/facesvc models build fusion

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin facesvc \
    && python -m pip uninstall --yes --quiet pip setuptools wheel \
    && mkdir --mode 700 /data && chown facesvc:facesvc /data
COPY --from=build /venv /venv
COPY --from=build --chown=facesvc:facesvc /data /data
COPY server.py /app/server.py
WORKDIR /app
# By number: orchestrators that insist on a user who is not root can't look names up.
USER 10001:10001
# Of the file system, /data and /tmp alone are written to.
ENV ORT_DISABLE_TELEMETRY=1 RAY_USAGE_STATS_ENABLED=0 \
    PATH=/venv/bin:$PATH HOME=/tmp FACESVC_DATA=/data FACESVC_HOST=0.0.0.0 PYTHONDONTWRITEBYTECODE=1
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["facesvc", "serve"]
