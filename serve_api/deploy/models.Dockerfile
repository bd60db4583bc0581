# Versions of models to be published, on top of the service's image. Build it from the folder of the stores:
#
#   docker build -f serve_api/deploy/models.Dockerfile -t serve-api-models:v1.1.0 artifacts
ARG BASE=serve-api:0.1.0
FROM ${BASE}
COPY . /models
