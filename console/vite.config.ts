import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { licenses } from "./build/licenses.ts";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const greenroom = process.env["GREENROOM_URL"] ?? "http://127.0.0.1:7880";

export default defineConfig({
  plugins: [
    react(),
    // Fonts come in through CSS, which the bundler does not list as modules.
    licenses([path("node_modules/@fontsource-variable/ibm-plex-sans"), path("node_modules/@fontsource/ibm-plex-mono")]),
  ],
  resolve: {
    alias: {
      // Published with the package, but not among the names that its index exports.
      "livekit-agent-session": path("node_modules/@livekit/protocol/src/gen/agent/livekit_agent_session_pb.js"),
    },
  },
  build: {
    outDir: path("../src/greenroom/control/static"),
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  server: {
    // `npm run dev` beside a running `greenroom dev`; /api takes requests only from its own origin.
    proxy: { "/api": { target: greenroom, changeOrigin: true, headers: { Origin: greenroom } } },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
