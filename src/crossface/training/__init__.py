"""The loop, distillers, checkpoints, schedules, run folders."""
