# Image of kvsync; see docs/container.md. BASE can be any image with apt, and with Python 3.11 or newer and its venv module.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements.txt requirements-build.txt requirements-installer.txt ./
RUN python3 -m venv /build \
 && python3 -m venv --without-pip /opt/kvsync \
 && /build/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-installer.txt \
 && /build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt \
 && /build/bin/pip --python /opt/kvsync/bin/python install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY scripts/build_hook.py scripts/
COPY share share
COPY kvsync kvsync
ARG REVISION=
ENV KVSYNC_COMMIT=$REVISION
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /kvsync . \
 && /build/bin/pip --python /opt/kvsync/bin/python install --no-cache-dir --no-deps /kvsync/*.whl

FROM ${BASE}
# git fetches a Git source, ssh connects to it, and gpg verifies its signatures. ssh requires that its user has a name.
# hadolint ignore=DL3008  # the base image determines the versions; mirrors remove a pinned version after its next fix
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git gpg openssh-client \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && groupadd --gid 65532 kvsync \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /var/lib/kvsync --shell /usr/sbin/nologin kvsync \
 && install -d -m 0700 -o 65532 -g 65532 /var/lib/kvsync \
 && install -d /config
COPY --from=build /opt/kvsync /opt/kvsync

ENV PATH=/opt/kvsync/bin:$PATH \
    KVSYNC_CONFIG=/config/kvsync.yaml \
    KVSYNC_LOG_FORMAT=json \
    STATE_DIRECTORY=/var/lib/kvsync
WORKDIR /config
VOLUME /var/lib/kvsync
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=10s --start-period=90s CMD ["/opt/kvsync/bin/kvsync", "status", "--check"]
ENTRYPOINT ["/opt/kvsync/bin/kvsync"]
CMD ["run"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kvsync" \
      org.opencontainers.image.description="Keeps key-value stores in sync with YAML files in a Git repository" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
