"""The relay in virtual time: its real delivery and intake code on a seeded model of AWS and of the providers."""
