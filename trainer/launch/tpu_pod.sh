#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Trains on a slice of a Cloud TPU pod, from a machine with gcloud:
#
#   TPU_NAME=NAME ZONE=us-west4-a trainer/launch/tpu_pod.sh setup
#   TPU_NAME=NAME ZONE=us-west4-a trainer/launch/tpu_pod.sh train \
#     CONFIG gs://BUCKET/run [FLAGS]
#
# `setup` installs the package on all machines of the slice; WHEEL is what is
# installed, deeplab2-like[train] by default, and TENSORFLOW the version of
# tensorflow-tpu. `train` runs deeplab2-train on the first machine, which controls
# the TPUs of all; CONFIG and MODEL_DIR are names as that machine sees them. It
# is started again when it ends with code 75 (stopped, with its state saved) or
# when the connection breaks.

set -euo pipefail

usage() {
  sed -n '4,17s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

: "${TPU_NAME:?Give the name of the TPU: TPU_NAME=NAME ZONE=ZONE $0 ...}"
: "${ZONE:?Give the zone of the TPU: TPU_NAME=NAME ZONE=ZONE $0 ...}"
wheel=${WHEEL:-deeplab2-like[train]}
tensorflow=${TENSORFLOW:-2.20.0}
most_starts=${MOST_STARTS:-20}

on_machine() {
  local which=$1
  shift
  gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$ZONE" \
    --worker="$which" --command="$*"
}

setup() {
  local install
  printf -v install '%q ' python3 -m pip install --quiet "$wheel" \
    "tensorflow-tpu==$tensorflow" \
    --find-links https://storage.googleapis.com/libtpu-tf-releases/index.html
  on_machine all "$install"
}

train() {
  (($# >= 2)) || usage
  local config=$1 model_dir=$2 command start code=0
  shift 2
  # The runtime on each machine owns its chips; the program must not load it.
  printf -v command '%q ' env TPU_LOAD_LIBRARY=0 TPU_NAME="$TPU_NAME" \
    deeplab2-train --master="$TPU_NAME" --config_file="$config" \
    --model_dir="$model_dir" "$@"
  for ((start = 1; start <= most_starts; start++)); do
    code=0
    on_machine 0 "$command" || code=$?
    # 255: the connection broke.
    if ((code != 75 && code != 255)); then
      exit "$code"
    fi
    echo "Start $start of $most_starts ended with code $code."
    sleep "${WAIT_SECONDS:-10}"
  done
  exit "$code"
}

case "${1:-}" in
  setup)
    shift
    setup
    ;;
  train)
    shift
    train "$@"
    ;;
  *) usage ;;
esac
