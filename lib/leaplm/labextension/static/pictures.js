// JupyterLab shows a picture as it is; what the notebook says of it (metadata of the output: {"image/png": {"alt": ...}}) it
// leaves out. This draws pictures as JupyterLab does and adds these words, so that a screen reader can say them.
// A module as JupyterLab loads it, without a build: `init` brings what all extensions share, `get` makes the extension.
(() => {
  let shared;

  const load = async (name) => {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  };

  const makePictures = (RenderedImage) => {
    class DescribedImage extends RenderedImage {
      async render(model) {
        await super.render(model);
        const words = model.metadata[this.mimeType]?.alt;
        if (typeof words === "string") this.node.querySelector("img").alt = words;
      }
    }
    const mimeTypes = ["image/png", "image/jpeg"];
    const rendererFactory = { safe: true, mimeTypes, defaultRank: 90, createRenderer: (options) => new DescribedImage(options) };
    const extension = { id: "leaplm:pictures", rendererFactory, rank: 90, dataType: "string" }; // 90: JupyterLab's own
    return { __esModule: true, default: extension };
  };

  (window._JUPYTERLAB ??= {}).leaplm = {
    init: (scope) => { shared = scope; },
    get: async () => {
      const { RenderedImage } = await load("@jupyterlab/rendermime");
      return () => makePictures(RenderedImage);
    },
  };
})();
