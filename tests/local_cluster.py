"""A real Dask cluster in a process of its own, for tests: prints its address and its workers' processes."""

import sys

if __name__ == "__main__":
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=int(sys.argv[1]),
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=50,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        print(*(nanny.pid for nanny in cluster.workers.values()), flush=True)
        sys.stdin.read()
