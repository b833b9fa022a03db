# docker build -t workbook . && docker run --rm -p 127.0.0.1:8888:8888 -v "$PWD/runs:/home/student/workbook" workbook
# Stage "system" is what the operating system has to give; .devcontainer/ stops there and works in your checkout.
FROM python:3.13-slim AS system
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make npm \
    && rm -rf /var/lib/apt/lists/*

FROM system AS workbook
COPY . /workbook
WORKDIR /workbook
RUN make data
# notebooks run as a user who cannot change the checkout; runs and caches are in a folder of their own
RUN useradd --create-home --uid 1000 student \
    && mkdir -p /etc/jupyter \
    && echo 'c.ServerApp.ip = "0.0.0.0"' > /etc/jupyter/jupyter_server_config.py
USER 1000
ENV WORKBOOK_HOME=/home/student/workbook
EXPOSE 8888
CMD ["make", "lab"]
