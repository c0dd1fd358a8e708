"""What make runs on this repository: nothing of it is deployed."""
