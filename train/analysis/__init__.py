"""What the commands share that compare finished runs: tables of runs, statistics, scorers."""
