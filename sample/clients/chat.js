// Ask Usher over its WebSocket: USHER_KEY=… node chat.js ws://127.0.0.1:8080/ws/chat "How many days …?"
// (Node 22 or newer; Node 20 with --experimental-websocket.)
const [url, question] = process.argv.slice(2);
const socket = new WebSocket(url);
const send = (frame) => socket.send(JSON.stringify(frame));
socket.onopen = () => {
  send({ type: "auth", key: process.env.USHER_KEY });
  send({ type: "ask", id: "1", question });
};
socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.type === "delta") process.stdout.write(frame.text);
  if (frame.type === "error") console.error(`${frame.code}: ${frame.message}`);
  if (frame.type === "done") {
    console.log();
    for (const { n, title, url } of frame.citations) console.log(`[${n}] ${title} ${url}`);
  }
  if (frame.type === "error" || frame.type === "done") socket.close(1000);
  process.exitCode = frame.type === "error" ? 1 : 0;
};
