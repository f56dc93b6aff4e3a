"""Runs: trainings and evaluations as processes, their journal, their queue."""
