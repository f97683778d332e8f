import { defineConfig } from 'vite';

// The built page is committed, so its file names are fixed and a diff of it stays legible.
// HAVANA_API names a running server for `npm run dev`.
export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rollupOptions: {
      // The page of a dataset, and that of a fleet.
      input: { app: 'index.html', fleet: 'fleet.html' },
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: 'shared.js',
        assetFileNames: (asset) => (asset.names.some((name) => name.endsWith('.css')) ? 'app.css' : '[name][extname]'),
      },
    },
  },
  server: { proxy: { '/api': process.env.HAVANA_API ?? 'http://127.0.0.1:8123' } },
  test: { include: ['src/**/*.test.ts'] },
} as Parameters<typeof defineConfig>[0]);
