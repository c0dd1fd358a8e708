"""A soak on the emulator: thousands of mixed events, providers and workers that fail, secrets that change; and then an
audit that accounts for every single one. `make soak`, or `python -m tests.soak --seed 7 --count 10000`.
"""
