# Flambeau with all its extras, on the processor:
#   docker build -t flambeau .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" flambeau train photos/
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" -p 127.0.0.1:8000:8000 flambeau serve runs/photos --host 0.0.0.0
# Another torch for a GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
# the Python that all tests run on
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/flambeau
# torch first and apart: the layer that is large and seldom changes
RUN pip install --index-url "$TORCH_INDEX" torch==2.13.0 torchvision==0.28.0
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY flambeau flambeau
COPY flambeau_onnx flambeau_onnx
# whoever a folder belongs to writes into it: --user, who may have no name in the image, and has a home all the same
RUN pip install -c constraints.txt '.[all]' && useradd --create-home flambeau && chmod 1777 /home/flambeau
ENV HOME=/home/flambeau USER=flambeau
USER flambeau
WORKDIR /work
ENTRYPOINT ["flambeau"]
CMD ["--help"]
