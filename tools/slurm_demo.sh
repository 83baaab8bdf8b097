#!/usr/bin/env bash
# Shows `monge compare` on a Slurm cluster of one node, this Debian machine, which it sets up for the time of the demo:
# the same comparison once as usual, once with srun as the launcher, once by --plan and arrays of jobs. The losses of
# all three must be the same.
# Usage: [MONGE=build/monge] [OUT=runs/slurm-demo] tools/slurm_demo.sh [COMPARISON [key.path=value ...]]
#
# As root: it installs slurm-wlm and munge where they are missing, and runs their daemons with a configuration, a key
# and ports of their own, so that another Slurm on the machine is not disturbed. They end with the demo. A container
# will do: nothing of this needs control groups.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

comparison="${1-configs/compare/demo.yaml}"
overrides=("${@:2}")
monge="${MONGE-build/monge}"
out="${OUT-runs/slurm-demo}"
jobs=2

fail() { printf 'slurm_demo: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }
((EUID == 0)) || fail "run it as root: it installs packages and starts the daemons of Slurm"
command -v apt-get >/dev/null || fail "this is not Debian or Ubuntu: there is no apt-get"
[[ -x "$monge" ]] || fail "there is no '$monge'; build it (tools/build.sh), or name another one by MONGE=..."
[[ -e "$comparison" ]] || fail "there is no '$comparison'; give a comparison as for monge compare"
((jobs <= $(nproc))) || fail "the demo makes $jobs runs at a time, and this process has $(nproc) processor"

packages=()
command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v srun >/dev/null || packages+=(slurm-wlm)
command -v munged >/dev/null || packages+=(munge)
if ((${#packages[@]} > 0)); then
  say "installing ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
fi

# The daemons, in the foreground of background jobs, so that the end of this script is theirs.
home="$(mktemp -d /tmp/monge-slurm.XXXXXX)"
daemons=()
stop() {
  timeout 5 scancel -u root 2>/dev/null || true
  for ((i = ${#daemons[@]} - 1; i >= 0; --i)); do
    kill "${daemons[i]}" 2>/dev/null || true
    wait "${daemons[i]}" 2>/dev/null || true
  done
  rm -rf "$home"
}
trap stop EXIT
daemon() {
  "$@" >>"$home/$1.out" 2>&1 &
  daemons+=($!)
}
# until_true WHAT COMMAND...: at most half a minute.
until_true() {
  for ((i = 0; i < 150; ++i)); do
    if "${@:2}" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  tail -n 5 "$home"/*.out "$home"/*.log >&2 || true
  fail "$1 did not start; the ends of its logs are above"
}

node="$(hostname -s)"
mkdir "$home/state" "$home/spool"
chmod 755 "$home"
head -c 1024 /dev/urandom >"$home/munge.key"
chmod 400 "$home/munge.key"
# Tasks are tied to their cores where this process may use all of them: core 0 of Slurm is core 0 of the machine.
tasks=none
if (($(nproc) == $(nproc --all))); then tasks=affinity; fi
cat >"$home/slurm.conf" <<CONF
ClusterName=demo
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/$tasks
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$home/slurm.conf"

say "starting $(slurmctld -V) on $node with $(nproc) processors, task/$tasks"
daemon munged --foreground --force --key-file="$home/munge.key" --socket="$home/munge.socket" \
  --pid-file="$home/munged.pid" --log-file="$home/munged.log" --seed-file="$home/munged.seed"
until_true munged munge --socket="$home/munge.socket" --no-input
daemon slurmctld -D
until_true slurmctld scontrol ping
daemon slurmd -D -N "$node"
until_true slurmd srun -n1 true

# One processor for each run, whoever makes it: the number of threads is part of a run.
compare() { "$monge" compare "$comparison" "${overrides[@]}" base.train.threads=1 "jobs=$jobs" "$@"; }

say "as usual, into $out/plain"
compare --out "$out/plain"

say "with srun as the launcher, into $out/launched"
compare --out "$out/launched" 'launcher=srun -n1 -c1'

say "by --plan and arrays of jobs, into $out/planned"
mkdir -p "$out"
lines="$(realpath "$out")/commands"
log="$(realpath "$out")/arrays.log"
: >"$lines.before"
while compare --out "$out/planned" --plan >"$lines" && [[ -s "$lines" ]]; do
  ! cmp -s "$lines" "$lines.before" || fail "no run of the last array has come to an end; see $log"
  cp "$lines" "$lines.before"
  count="$(wc -l <"$lines")"
  echo "an array of $count jobs"
  # A run that diverges ends with an exit code of its own, which is no reason to stop.
  # shellcheck disable=SC2016  # for the shell of the job
  sbatch --quiet --wait --array="1-$count" --ntasks=1 --cpus-per-task=1 --output="$log" --open-mode=append \
    --export="ALL,LINES_FILE=$lines" --wrap='sh -c "$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$LINES_FILE")"' || true
done

losses() { grep -E '"(hash|final_loss)":' "$out/$1/results.json"; }
for other in launched planned; do
  diff <(losses plain) <(losses "$other") >&2 || fail "$out/$other has other losses than $out/plain"
done
say "the losses of $(losses plain | grep -c hash) runs are the same in $out/plain, $out/launched and $out/planned"
