export default { test: { include: ["suite.test.mjs"], testTimeout: 30000, hookTimeout: 30000, retry: 0 } }
