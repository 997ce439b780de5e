#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Trains on several machines of a SLURM cluster, one task on each:
#
#   sbatch --nodes=4 --gpus-per-node=8 trainer/launch/slurm.sh CONFIG MODEL_DIR
#
# Options after MODEL_DIR go to deeplab2-train. MODEL_DIR is a folder that all
# machines see. deeplab2-train reads the list of the machines from the variables
# that srun sets.

#SBATCH --job-name=deeplab2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# The same job is started again after a preemption or when a machine fails.
#SBATCH --requeue
# SIGTERM to this script two minutes before the time limit, which it passes on:
# the steps in hand are saved, and the job is put into the queue again.
#SBATCH --signal=B:TERM@120

set -euo pipefail

if (($# < 2)); then
  echo "Usage: sbatch [OPTIONS] $0 CONFIG MODEL_DIR [FLAGS]" >&2
  exit 2
fi
config=$1
model_dir=$2
shift 2

most_starts=${MOST_STARTS:-20}
wait_seconds=${WAIT_SECONDS:-10}
is_stopped=0
step=

# Prints the step of the newest checkpoint; nothing if there is none.
find_newest() {
  { ls "$model_dir" 2>/dev/null || true; } |
    sed -n 's/^ckpt-\([0-9]*\)\.index$/\1/p' | sort -n | tail -n 1
}

stop() {
  is_stopped=1
  if [[ -n $step ]]; then
    kill -TERM "$step" 2>/dev/null || true
  fi
}
trap stop TERM

# Exit codes of deeplab2-train: 0 trained to the end; 75 stopped with its state
# saved, or another worker is gone. 137: a task was killed. srun returns the
# highest code of all tasks, so that 75 hides an error of one task that another
# start does not mend: starts that save nothing end the job.
code=75
newest=$(find_newest)
idle_starts=0
for ((start = 1; start <= most_starts && !is_stopped; start++)); do
  # --kill-on-bad-exit=0: the others say which worker is gone, and end.
  srun --ntasks-per-node=1 --distribution=block --kill-on-bad-exit=0 \
    deeplab2-train \
    --config_file="$config" \
    --model_dir="$model_dir" \
    --num_gpus=-1 \
    "$@" &
  step=$!
  # A signal may have come before its number was known.
  if ((is_stopped)); then
    stop
  fi
  code=0
  wait "$step" || code=$?
  # SIGTERM ends `wait` with 143, not the step; 127: its code is known already.
  while ((code == 143 && is_stopped)); do
    again=0
    wait "$step" || again=$?
    if ((again == 127)); then
      break
    fi
    code=$again
  done
  step=
  # 143: SIGTERM came before the program had started.
  if ((code != 75 && code != 137 && !(is_stopped && code == 143))); then
    exit "$code"
  fi
  echo "Start $start of $most_starts ended with code $code."
  before=$newest
  newest=$(find_newest)
  idle_starts=$((idle_starts + 1))
  # Checkpoints at an address such as gs://... are not looked for.
  if [[ $newest != "$before" || $model_dir == *://* ]]; then
    idle_starts=0
  fi
  if ((idle_starts == 2 && !is_stopped)); then
    echo "Two starts after each other saved no checkpoint in $model_dir:" \
      "their output above says why. Submit the job again to go on." >&2
    exit "$code"
  fi
  if ((!is_stopped)); then
    sleep "$wait_seconds"
  fi
done
if ((is_stopped)) && [[ -n ${SLURM_JOB_ID:-} ]]; then
  scontrol requeue "$SLURM_JOB_ID" || true
fi
exit "$code"
