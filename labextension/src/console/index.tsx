// The console for its hosts: `page` for the web page; the default export follows anywidget's contract.
import uplotStyle from "uplot/dist/uPlot.min.css";
import { render } from "preact";
import { App } from "./app";
import { type Link, WebLink, WidgetLink, type WidgetModel } from "./link";
import { Store } from "./store";
import { speak } from "./strings";
import style from "./style.css";

/** Draws a console into `element`; the result takes it away. */
function mount(element: HTMLElement, store: Store, link: Link): () => void {
  speak(document.documentElement.lang || navigator.language);
  // A tree of its own: no style of the host reaches in but the theme's variables, and none of ours gets out
  const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
  element.dataset["lmSuppressShortcuts"] = "true"; // JupyterLab's keys are not for what is typed here
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(uplotStyle + style);
  root.adoptedStyleSheets = [sheet];
  render(<App store={store} link={link} />, root);
  return () => render(null, root);
}

/** The token that stands behind `#`, taken out of the address bar, or the one that was given to this tab before. */
function givenToken(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    sessionStorage.setItem("tfs-token", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given ?? sessionStorage.getItem("tfs-token") ?? "";
}

/** The web page. */
export function page(element: HTMLElement): void {
  document.documentElement.lang = /^zh\b/i.test(navigator.language) ? "zh-CN" : "en";
  const url = new URL("ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  const store = new Store();
  const link = new WebLink(url.href, givenToken(), store);
  const unmount = mount(element, store, link);
  addEventListener("hashchange", () => link.authorize(givenToken()));
  addEventListener("pagehide", (event) => {
    if (event.persisted) return;
    link.close();
    unmount();
  });
}

/** A view of the widget; anywidget calls what this returns when it goes. */
async function renderWidget({ model, el }: { model: WidgetModel; el: HTMLElement }): Promise<() => void> {
  const store = new Store();
  const id = String(model.get("commands")).replace(/^IPY_MODEL_/, "");
  const link = new WidgetLink(model, await model.widget_manager.get_model(id), store);
  const element = document.createElement("div");
  el.append(element);
  const unmount = mount(element, store, link);
  return () => {
    link.close();
    unmount();
    element.remove();
  };
}

export default { render: renderWidget };
