// Where the official SDK lies: in the folder that NPM_FOLDER names.
const { createRequire } = require('node:module');
const from = createRequire(process.env.NPM_FOLDER + '/package.json');
module.exports = {
  sdk: from('@a2a-js/sdk'),
  grpcClient: () => from('@a2a-js/sdk/client/grpc'),
  client: () => from('@a2a-js/sdk/client'),
  server: () => from('@a2a-js/sdk/server'),
  serverExpress: () => from('@a2a-js/sdk/server/express'),
  compatExpress: () => from('@a2a-js/sdk/compat/v0_3/server/express'),
  express: () => from('express'),
  serverGrpc: () => from('@a2a-js/sdk/server/grpc'),
  compatGrpc: () => from('@a2a-js/sdk/compat/v0_3/server/grpc'),
  compatServer: () => from('@a2a-js/sdk/compat/v0_3/server'),
  grpc: () => from('@grpc/grpc-js'),
};
