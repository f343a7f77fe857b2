"""Ask Usher over its WebSocket: USHER_KEY=… python chat.py ws://127.0.0.1:8080/ws/chat "How many days …?" """

import json
import os
import sys

from websockets.sync.client import connect

url, question = sys.argv[1:]
with connect(url) as socket:
    socket.send(json.dumps({"type": "auth", "key": os.environ["USHER_KEY"]}))
    socket.send(json.dumps({"type": "ask", "id": "1", "question": question}))
    for frame in map(json.loads, socket):
        if frame["type"] == "delta":
            print(frame["text"], end="", flush=True)
        elif frame["type"] == "error":
            sys.exit(f"{frame['code']}: {frame['message']}")
        elif frame["type"] == "done":
            print("", *(f"[{one['n']}] {one['title']} {one['url']}" for one in frame["citations"]), sep="\n")
            break
