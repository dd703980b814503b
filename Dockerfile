# safelight in a container, for an account without rights. Linted, and never built by us so far.
#   docker build -t safelight .
#   docker run --rm --network host -v "$PWD/pictures:/pictures" safelight
# The page listens on the loopback device only, as everywhere: of the machine with --network host, else
# of the container, where nobody reaches it. docs/install.md says more.
FROM python:3.11-slim AS built
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY LICENSES ./LICENSES
COPY src ./src
RUN python -m venv /opt/safelight && /opt/safelight/bin/pip install --no-cache-dir .

FROM python:3.11-slim
RUN useradd --uid 1000 --create-home safelight && mkdir /pictures && chown safelight:safelight /pictures
COPY --from=built /opt/safelight /opt/safelight
ENV PATH=/opt/safelight/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SAFELIGHT_ARCHIVE=/pictures
USER 1000
WORKDIR /pictures
VOLUME /pictures
ENTRYPOINT ["safelight"]
CMD ["serve"]
