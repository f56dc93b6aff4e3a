# docker build -t kochat .  &&  docker run -p 7860:7860 -v kochat:/home/kochat/data kochat
FROM python:3.12-slim
RUN useradd --create-home kochat && mkdir /home/kochat/data && chown kochat:kochat /home/kochat/data
WORKDIR /home/kochat/app
COPY requirements.txt .
# The CPU build of PyTorch: 3 GB less than the one with CUDA.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.txt
COPY app.py pyproject.toml ./
COPY kochat kochat
COPY checkpoints/kochat-mini checkpoints/kochat-mini
USER kochat
ENV KOCHAT_HOME=/home/kochat/data KOCHAT_NO_BROWSER=1 GRADIO_SERVER_NAME=0.0.0.0
VOLUME /home/kochat/data
EXPOSE 7860
CMD ["python", "app.py"]
