"""Benchmarks of functrans beside its peers, interleaved in one process.

Run ``python -m benchmarks``; ``benchmarks/README.md`` says how to read the table and how to add a workload.
"""
