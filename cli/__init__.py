"""`relay`, the operator's command: see, explain and mend a deployed stack."""
