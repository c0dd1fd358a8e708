"""Puts one customer event on the relay's bus: `python put_events.py <EventBusName or EventBusArn>`."""

import json
import sys

import boto3

EVENT = {
    "id": "order-100451-placed",
    "source": "shop",
    "type": "order_placed",
    "occurred_at": "2026-11-28T10:00:00Z",
    "customer": {"email": "customer@example.com"},
    "properties": {"order_id": "100451", "total": 6.7},
}

entry = {
    "EventBusName": sys.argv[1],
    "Source": "shop.orders",
    "DetailType": "customer event",
    "Detail": json.dumps(EVENT),
}
answer = boto3.client("events").put_events(Entries=[entry])
# PutEvents answers 200 even when it took nothing.
if answer["FailedEntryCount"]:
    sys.exit(str(answer["Entries"][0]))
print(answer["Entries"][0]["EventId"])
