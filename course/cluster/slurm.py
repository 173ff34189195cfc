"""Dask workers on a Slurm cluster, for `leaplm grade LAB --scheduler ADDRESS`; ends them with Ctrl-C."""

import argparse
import signal

from dask_jobqueue import SLURMCluster
from leaplm.grading.course import find_course


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="Slurm jobs; each is one Dask worker")
    parser.add_argument("--cores", type=int, default=4, help="of a job; as many submissions at once")
    parser.add_argument("--memory", default="16GB", help="of a job; a submission may use 2.5 GB, and its judge 1 GB")
    parser.add_argument("--walltime", default="01:00:00")
    parser.add_argument("--queue", default=None, help="Slurm partition")
    options = parser.parse_args()
    with SLURMCluster(
        queue=options.queue, cores=options.cores, processes=1, memory=options.memory, walltime=options.walltime,
        job_script_prologue=[f"export LEAPLM_COURSE={find_course()}"],
        # A worker that loses the scheduler ends; what it had goes to another.
        worker_extra_args=["--lifetime-stagger", "2m"],
    ) as cluster:  # fmt: skip
        cluster.scale(jobs=options.jobs)
        print(f"leaplm grade LAB --scheduler {cluster.scheduler_address}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
