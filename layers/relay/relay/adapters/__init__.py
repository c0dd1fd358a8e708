"""The ports' real ends: SQS, DynamoDB, Secrets Manager, HTTP and the clock."""
