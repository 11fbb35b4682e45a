/**
 * A site that Vite builds, whose engine is in a worker.
 *
 *     npm install
 *     npm run dev
 */
import { defineConfig } from "vite";

/** What a page needs so that several threads compute; a host of `dist` sends them too. */
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  server: { headers },
  preview: { headers },
  // They are modules already; found late, in a worker, they would load the page anew.
  optimizeDeps: { exclude: ["@culm/culm", "@culm/tiny"] },
  // The library loads parts of itself when they are used.
  worker: { format: "es" },
});
