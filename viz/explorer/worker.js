// The layout, off the page's thread: it gets the data once, then sets of open scopes.

let layout = null;

onmessage = async ({ data }) => {
  try {
    if (data.text !== undefined) {
      layout = new Layout(new Model(await readData(data.text)), dagre);
      postMessage({ ready: true });
      return;
    }
    const start = performance.now();
    const found = layout.arrange(new Set(data.open));
    postMessage({ number: data.number, found, ms: performance.now() - start });
  } catch (error) {
    postMessage({ number: data.number, error: String((error && error.stack) || error) });
  }
};
