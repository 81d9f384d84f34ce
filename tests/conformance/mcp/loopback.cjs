// Preloaded into programs of npm that listen on every interface: they stay on this machine.
const net = require('net');
const listen = net.Server.prototype._listen2;
net.Server.prototype._listen2 = function (address, port, type, ...rest) {
  const everywhere = !address && typeof port === 'number' && port >= 0;
  return listen.call(this, everywhere ? '127.0.0.1' : address, port, everywhere ? 4 : type, ...rest);
};
