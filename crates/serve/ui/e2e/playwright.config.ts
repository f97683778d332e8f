import { defineConfig } from "@playwright/test";
import { CHROMIUM, CHROMIUM_ARGS } from "./harness/chromium.mjs";

export default defineConfig({
  testDir: "tests",
  globalSetup: "./harness/setup.ts",
  timeout: 120_000,
  expect: { timeout: 10_000 },
  // One page at a time: the pictures are compared pixel by pixel, not how fast two of them are drawn.
  workers: 1,
  fullyParallel: false,
  forbidOnly: !!process.env.CI,
  reporter: [["list"]],
  use: {
    viewport: { width: 1280, height: 800 },
    colorScheme: "dark",
    acceptDownloads: true,
    trace: "off",
    launchOptions: { executablePath: CHROMIUM, args: CHROMIUM_ARGS },
  },
});
