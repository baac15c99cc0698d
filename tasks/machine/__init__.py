"""What runs the stages: the environment, child processes, the DAG, the servers."""
