"""The relay on one machine: emulator, provider sandbox, deployment, demo. Never part of what is deployed."""
