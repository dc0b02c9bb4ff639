// Which part of the report is shown: the address says it.

const VIEWS = {
  overview: showOverview,
  detections: showDetections,
  health: showHealth,
  listen: showListen,
  review: showReview,
  save: showSave,
};

const viewNow = () => {
  const wanted = location.hash.slice(1);
  return Object.hasOwn(VIEWS, wanted) ? wanted : "overview";
};

function showView(focus) {
  const now = viewNow();
  for (const view of Object.keys(VIEWS)) {
    const section = byId(`view-${view}`);
    if (view !== now && !section.hidden) {
      forgetFigures(section);
      section.replaceChildren();
    }
    section.hidden = view !== now;
  }
  document.body.dataset.view = now;
  if (now !== "review") player.pause();
  for (const link of document.querySelectorAll("nav a")) {
    const is = link.hash === `#${now === "review" ? "listen" : now}`;
    if (is) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("filters").hidden = now === "review" || now === "save";
  byId("filter-class-place").hidden = now !== "detections" && now !== "listen";
  say("");
  const section = byId(`view-${now}`);
  forgetFigures(section);
  VIEWS[now](section);
  if (focus && now !== "review") {
    const head = section.querySelector("h2");
    if (head) { head.tabIndex = -1; head.focus({ preventScroll: true }); scrollTo(0, 0); }
  }
}

function refresh() {
  showClassFilter(refreshView);
  refreshView();
}

function refreshView() {
  showView(false);
}

function begin() {
  document.body.append(patterns());
  const names = data.deployments.map((one) => one.name);
  const title = names.length === 1 ? names[0] : `${count(names.length)} deployments`;
  document.title = `${title} · edge-probe report`;
  byId("title").textContent = title;
  byId("subtitle").textContent = `${plural(heard.n, "detection")} · report of ${about.made_utc.slice(0, 10)}`;
  byId("footer").replaceChildren(el("p", null, `Made ${about.made_utc} by edge-probe ${about.version}. This page asks no network for anything.`),
    el("p", null, data.bundles.map((one) => `bundle ${one.id}, ${one.sha256.slice(0, 12)}`).join(" · ")));
  recall();
  showUnsaved();
  makeFilters(refresh);
  refresh();
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  addEventListener("hashchange", () => showView(true));
  addEventListener("storage", (event) => {
    if (event.key !== STORE) return;
    recall();
    showUnsaved();
    if (viewNow() !== "review") refreshView();
  });
  addEventListener("beforeunload", (event) => {
    if (!isKept && unsaved()) event.preventDefault();
  });
}

begin();
