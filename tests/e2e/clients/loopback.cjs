// Loaded before a program that would listen on every address: it listens on loopback, on a port that is free, and says
// on which one.
const { Server } = require('node:net');
const { listen } = Server.prototype;
Server.prototype.listen = function (_port, listening) {
  return listen.call(this, 0, '127.0.0.1', function () {
    console.log(`port ${this.address().port}`);
    listening.call(this);
  });
};
