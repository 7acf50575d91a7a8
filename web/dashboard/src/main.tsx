import { render } from "preact";
import { App } from "./app";
import "./style/index.css";

const place = document.getElementById("app");
if (place) {
  place.replaceChildren();
  render(<App />, place);
}
