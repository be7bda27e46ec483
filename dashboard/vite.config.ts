/// <reference types="vitest/config" />
import { defineConfig, loadEnv } from "vite";

/** For `npm run dev`: where a running instance answers. */
const { RUSHLIGHT_URL = "http://127.0.0.1:8000" } = loadEnv("", ".", "RUSHLIGHT_");

export default defineConfig({
  // Relative addresses, so that the board also works below a path prefix.
  base: "./",
  build: {
    outDir: "../src/rushlight/static/board",
    emptyOutDir: true,
    target: "es2022",
    // No data: addresses and no injected code: the page runs under `default-src 'self'`.
    assetsInlineLimit: 0,
    modulePreload: false,
    license: { fileName: "licences.md" },
    rolldownOptions: {
      output: {
        entryFileNames: "assets/board-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  server: {
    proxy: { "/socket.io": { target: RUSHLIGHT_URL, ws: true }, "/api": { target: RUSHLIGHT_URL } },
  },
  test: { include: ["test/**/*.test.ts"] },
});
