// One page, one script, one stylesheet, named by their content; nothing is fetched from elsewhere.
import { defineConfig } from "vite";

export default defineConfig({
  base: "./", // the service may live below any path of a reverse proxy
  build: {
    outDir: process.env.TIDEGATE_DASHBOARD ?? "../src/tidegate/service/dashboard",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the security policy admits no data: scripts or styles
    modulePreload: false,
    sourcemap: false,
    reportCompressedSize: true,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8700", ws: true } } },
});
