ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1
COPY requirements/build.txt requirements/postgres.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/offsetnet \
    && /opt/build/bin/pip --python /opt/offsetnet install \
       --require-hashes -r requirements/postgres.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY model model
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/build/bin/pip --python /opt/offsetnet install --no-deps /dist/*.whl \
    && strip --strip-unneeded /opt/offsetnet/lib/python*/site-packages/uvloop/*.so \
    && find /opt/offsetnet -type d -name tests -prune -exec rm -r {} + \
    && find /opt/offsetnet -name '*.py[ix]' -delete

FROM ${BASE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="offsetnet" \
      org.opencontainers.image.description="Predicts with a tiny neural network, and retrains it safely" \
      org.opencontainers.image.version="1.0.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/offsetnet /opt/offsetnet
RUN mkdir /data && chown 10001:10001 /data
USER 10001:10001
ENV PATH=/opt/offsetnet/bin:$PATH OFFSETNET_DATA_DIR=/data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["offsetnet"]
CMD ["serve", "--host", "0.0.0.0"]
